// A call in a p-queue that ends its process the first time: says so if it is answered after all.
import PQueue from 'p-queue';
import { dieOnce } from './tasks.mjs';

const [marker] = process.argv.slice(2);
console.log(await new PQueue().add(() => dieOnce(marker)));
