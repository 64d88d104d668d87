export const increment = async (value) => value + 1;
export const same = async (array) => array;
