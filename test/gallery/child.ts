// A process of the gallery: checks one server after another, as its parent asks, and
// answers with the results. An error that a faulty server leaves uncaught belongs to
// the one server that is under way.

import { type CheckResult, checkServer } from '../../lib/index.ts';
import { faults } from './faults.ts';
import { variants } from './variants.ts';

/** The settings that the parent passes. */
export interface Order {
  gallery: 'faults' | 'variants';
  name: string;
  only?: string;
  timeLimit?: number;
}

const named = new Map(faults.map(({ name, Server }) => [name, Server]));

process.on('message', ({ gallery, name, only, timeLimit }: Order) => {
  const Server = gallery === 'faults' ? named.get(name) : variants[name];
  if (Server === undefined) throw new Error(`there is no server that ${name}`);
  void checkServer((app) => new Server(app).start(), { only, timeLimit }).then(({ results }) => {
    const failed: CheckResult[] = results.filter(({ outcome }) => outcome === 'failed');
    process.send?.(failed);
  });
});
