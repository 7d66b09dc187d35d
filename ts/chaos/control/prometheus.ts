import type { Chaos } from '../api.js';

/** The content type of the text exposition format of Prometheus. */
export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** The metrics of a chaos in the text exposition format of Prometheus. Counters begin at zero after a `reset()`. */
export function toPrometheus(chaos: Chaos): string {
  const { totalRequests, failuresInjected, latenciesInjected, kernelsKilled } = chaos.metrics();
  const { killsAttempted, kernelsPaused, live } = chaos.kernels();
  const lines: readonly (readonly [name: string, type: 'counter' | 'gauge', help: string, value: number])[] = [
    ['requests_total', 'counter', 'Requests that chaos decided about.', totalRequests],
    ['failures_injected_total', 'counter', 'Requests that were made to fail.', failuresInjected],
    ['latencies_injected_total', 'counter', 'Requests that were held.', latenciesInjected],
    ['kernels_killed_total', 'counter', 'Kernels that were killed.', kernelsKilled],
    ['kernel_kills_attempted_total', 'counter', 'Kills of kernels that were begun.', killsAttempted],
    ['kernels_paused_total', 'counter', 'Kernels that were paused and went on.', kernelsPaused],
    ['kernels_live', 'gauge', 'Kernels that could be killed now.', live.length],
    ['armed', 'gauge', 'Whether chaos injects now.', chaos.armed ? 1 : 0],
    ['active_faults', 'gauge', 'Faults that hold something now.', chaos.status().activeFaults],
  ];
  return lines
    .map(([name, type, help, value]) => {
      const full = `reprise_chaos_${name}`;
      return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${full} ${value}\n`;
    })
    .join('');
}
