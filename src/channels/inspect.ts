import { hide } from '../core/index.js';

/** The name by which Node's `util.inspect`, and Deno's and Bun's likeness of it, ask an object how it is printed. */
const custom = Symbol.for('nodejs.util.inspect.custom');

/**
 * Says how the instances of a class are printed, and what they are in JSON: its name and a few figures. Never what lies in a channel, which may be anything and large.
 *
 * @param type The class; subclasses are printed under their own names.
 * @param figuresOf What is printed of an instance.
 */
export function printedAs<T extends object>(
  type: { readonly prototype: T },
  figuresOf: (instance: T) => Readonly<Record<string, number | boolean | string>>,
): void {
  hide(type.prototype, 'toJSON', function (this: T): object {
    return figuresOf(this);
  });
  hide(type.prototype, custom, function (this: T): string {
    const figures = Object.entries(figuresOf(this)).map(([name, figure]) => `${name}: ${figure}`);
    return `${this.constructor.name} { ${figures.join(', ')} }`;
  });
}
