/** Line breaks in names, kept from patterns: `*` and `?` do not match a name that begins with one. Each has a private character in its place. */
const BREAKS = '\n\r\u2028\u2029';
const FIRST = 0xf780;

/** A name or a pattern as a glob is to see it. */
export function toGlobText(text: string): string {
  return text.replace(/[\n\r\u2028\u2029]/g, (each) => String.fromCharCode(FIRST + BREAKS.indexOf(each)));
}

/** The name again. */
export function fromGlobText(text: string): string {
  return text.replace(/[\uF780-\uF783]/g, (each) => BREAKS.charAt(each.charCodeAt(0) - FIRST));
}
