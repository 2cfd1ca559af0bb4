/** Of a house where nothing is a secret and no model is reached. */
import type { Credentials } from '../../src/wiring/proofs.ts';

export const noCredentials: Credentials = {
  resolve: async () => new Map(),
  files: {
    put: async () => ({}),
    lodging: async () => null,
    drop: async () => {},
    sweep: async () => {},
  },
  models: null,
  hide: (text) => text,
};
