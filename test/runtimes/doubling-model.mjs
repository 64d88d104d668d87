/** The model of the hosts: doubles a number. */
export default () => ({ double: (n) => 2 * n });
