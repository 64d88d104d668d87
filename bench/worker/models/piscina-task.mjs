import { move } from 'piscina';

export const increment = async (value) => value + 1;
export const same = async (array) => array;
export const moved = async (array) => move(array);
