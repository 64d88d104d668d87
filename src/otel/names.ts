/** The name of the tracer and the meter: their instrumentation scope. */
export const SCOPE = 'millrace';

/** The package's version; a test holds it against package.json. */
export const VERSION = '0.2.0';
