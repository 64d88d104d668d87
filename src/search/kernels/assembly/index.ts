export { dotBytes, dotFloats, quantizeRows } from './scan';
