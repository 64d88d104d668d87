/** Prints by name and count, after the run, the tests that this machine could not run. */
import type { Reporter, TestCase, TestModule } from 'vitest/node';

export class NotRunReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped: TestCase[] = [];
    for (const module of modules)
      for (const test of module.children.allTests('skipped')) if (test.fullName.includes('[needs ')) skipped.push(test);
    if (skipped.length === 0) return;
    console.log(
      `\n${skipped.length} ${skipped.length === 1 ? 'test was' : 'tests were'} not run, for want of what each names:`,
    );
    for (const test of skipped) console.log(`  ${test.module.relativeModuleId}: ${test.fullName}`);
  }
}
