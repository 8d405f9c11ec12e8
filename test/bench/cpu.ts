// Time that other work on the machine disturbs little.

/** CPU time of this thread so far, in ms. */
export function cpuMs(): number {
  const { system, user } = process.threadCpuUsage();
  return (system + user) / 1000;
}
