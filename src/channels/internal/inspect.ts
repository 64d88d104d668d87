import { hide } from '../../core/index.js';

/** The name by which Node's `util.inspect`, and Deno's and Bun's likeness of it, ask an object how it is printed. */
const custom = Symbol.for('nodejs.util.inspect.custom');

/**
 * Says how the instances of a class are printed, and what they are in JSON: its name and a few figures. Never what lies in a channel, which may
 * be anything and large.
 *
 * @param type The class; subclasses are printed under their own names.
 * @param names What is printed of an instance.
 */
export function printedAs<T extends object>(type: { readonly prototype: T }, ...names: (keyof T & string)[]): void {
  hide(type.prototype, 'toJSON', function (this: T): object {
    return Object.fromEntries(names.map((name) => [name, this[name]]));
  });
  hide(type.prototype, custom, function (this: T): string {
    return `${this.constructor.name} { ${names.map((name) => `${name}: ${this[name]}`).join(', ')} }`;
  });
}
