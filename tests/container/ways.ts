/** Every way out that is tried, in the order in which it is: docs/containers.md has the same table. */
import type { Way } from './way.ts';
import { engineWays } from './ways-engine.ts';
import { fileWays } from './ways-files.ts';
import { identityWays } from './ways-identity.ts';
import { networkWays } from './ways-network.ts';

export const ways: readonly Way[] = [...networkWays, ...engineWays, ...fileWays, ...identityWays];
