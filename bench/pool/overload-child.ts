import { overload } from './overload.js';

process.send?.(await overload(Number(process.argv[2])));
