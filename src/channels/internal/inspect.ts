import { hide } from '../../core/index.js';

/** The method that `util.inspect` of Node, and its counterparts in Deno and Bun, call. */
const custom = Symbol.for('nodejs.util.inspect.custom');

/**
 * Defines how instances of a class are printed and what they are in JSON: the class name and a few figures, never the values in a channel.
 *
 * @param type The class; subclasses print their own names.
 * @param names The properties to print.
 */
export function printedAs<T extends object>(type: { readonly prototype: T }, ...names: (keyof T & string)[]): void {
  hide(type.prototype, 'toJSON', function (this: T): object {
    return Object.fromEntries(names.map((name) => [name, this[name]]));
  });
  hide(type.prototype, custom, function (this: T): string {
    return `${this.constructor.name} { ${names.map((name) => `${name}: ${this[name]}`).join(', ')} }`;
  });
}
