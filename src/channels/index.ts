/** Layer under construction. */
export {};
