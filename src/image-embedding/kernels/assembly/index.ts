export { writePlanes8, writePlanes16, writePlanes32 } from './planes';
export { scaleColumns, scaleRows } from './resample';
