/** In place of tinyrainbow, which asks for the environment: texts as they are. */
const plain = (text: unknown): string => String(text);

export const createColors = (): unknown => new Proxy({}, { get: () => plain });
export const isSupported = (): boolean => false;
export default createColors();
