// Random values that can be repeated: the same seed gives the same values.
//
// TSGIREF_SEED sets the seed of a run, TSGIREF_ROUNDS the number of rounds. Round N of a
// run has the seed SEED + N, so this repeats a single round that has failed:
//
//     TSGIREF_SEED=… TSGIREF_ROUNDS=1 node --test dist/test/….test.js

import type { TestContext } from 'node:test';

/** The seed of this run. */
export const SEED: number =
  Number(process.env['TSGIREF_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** How many rounds to try: `usual`, unless more or fewer are asked for. */
export function rounds(usual: number): number {
  return Number(process.env['TSGIREF_ROUNDS'] ?? usual);
}

/** Runs `round` with the seed of each round; a failure names its seed. */
export async function eachRound(
  context: TestContext,
  usual: number,
  round: (chance: Chance) => Promise<void>,
): Promise<void> {
  context.diagnostic(`seed ${SEED}`);
  for (let number = 0; number < rounds(usual); number += 1) {
    const seed = SEED + number;
    try {
      await round(makeChance(seed));
    } catch (error) {
      throw new Error(`with TSGIREF_SEED=${seed} TSGIREF_ROUNDS=1`, { cause: error });
    }
  }
}

export interface Chance {
  /** From 0 to below 1. */
  random(): number;
  /** A whole number from 0 to below `limit`. */
  below(limit: number): number;
  /** True with this probability, from 0 to 1. */
  happens(probability: number): boolean;
  pick<T>(from: readonly [T, ...T[]]): T;
  /** An array of `count` values, each made by a call. */
  times<T>(count: number, make: () => T): T[];
  /** Up to `most` characters from U+0000 to U+00FF, or those of them that `allowed` matches. */
  latin1(most: number, allowed?: RegExp): string;
}

/** Random values from `seed` (mulberry32). */
export function makeChance(seed: number): Chance {
  let state = seed | 0;
  const random = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(random() * limit);
  const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);
  return {
    random,
    below,
    times,
    happens: (probability) => random() < probability,
    pick: (from) => from[below(from.length)] ?? from[0],
    latin1(most, allowed = /[^]/) {
      const characters = times(below(most + 1), () => String.fromCharCode(below(0x100)));
      return characters.filter((character) => allowed.test(character)).join('');
    },
  };
}
