// Waits to be told to end, as whoever runs in a terminal or below a supervisor is told.

export const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Resolves with the first of the signals that comes; a second one ends the process at once. */
export function stopAsked(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of stopSignals) {
      process.once(signal, () => resolve(signal));
    }
  });
}
