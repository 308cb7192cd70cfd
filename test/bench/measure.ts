// Two things measured in turns, so that what disturbs one disturbs the other.

/** The result of several rounds: the middle of the ratios, and how far they lay apart. */
export interface Comparison {
  ours: number;
  bare: number;
  ratio: number;
  lowest: number;
  highest: number;
}

/** The middle one of some numbers. */
export function median(numbers: number[]): number {
  const sorted = [...numbers].sort((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** Measures both so many times; who begins changes from round to round. */
export async function compare(
  rounds: number,
  ours: () => Promise<number>,
  bare: () => Promise<number>,
): Promise<Comparison> {
  const results: Array<{ ours: number; bare: number }> = [];
  for (let round = 0; round < rounds; round += 1) {
    if (round % 2 === 0) {
      const first = await ours();
      results.push({ ours: first, bare: await bare() });
    } else {
      const first = await bare();
      results.push({ ours: await ours(), bare: first });
    }
  }
  const ratios = results.map((result) => result.ours / result.bare);
  return {
    ours: median(results.map((result) => result.ours)),
    bare: median(results.map((result) => result.bare)),
    ratio: median(ratios),
    lowest: Math.min(...ratios),
    highest: Math.max(...ratios),
  };
}
