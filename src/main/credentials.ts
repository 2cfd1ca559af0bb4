/**
 * Composes what proves somebody to somebody: secrets by their references, files in memory, virtual keys, and
 * the gateway to models where this server has a key of a provider.
 *
 * The gateway listens before the fleet is restored, because a restored launch needs its address; until then
 * it asks tools to come again.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { Upstream as UpstreamConfig } from '../config-credentials.ts';
import type { ModelCounts } from '../desk.ts';
import { Failure } from '../failure.ts';
import { forwarding } from '../gateway/forward.ts';
import { type VirtualKeys, virtualKeys } from '../gateway/keys.ts';
import { type Prices, prices } from '../gateway/prices.ts';
import { type GatewayServer, gatewayServer } from '../gateway/server.ts';
import { tallies } from '../gateway/tallies.ts';
import type { Upstream } from '../gateway/upstream.ts';
import type { Log } from '../log.ts';
import type { SecretRef } from '../tasks/manifest.ts';
import { secretFiles } from '../tasks/secret-files.ts';
import { type ResolveSecrets, resolveSecrets } from '../tasks/secrets.ts';
import type { Veil } from '../veil.ts';
import type { House } from '../wiring/house.ts';
import type { Credentials, ModelDoor, Provider } from '../wiring/proofs.ts';
import { treasury } from '../wiring/spending.ts';

/** How long a real key is remembered, so that a new one is found without a restart. */
const KEY_KEPT_MS = 5 * 60_000;
/** sockaddr_un holds 108 bytes on Linux with the zero at its end (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107;

export interface Around {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly veil: Veil;
  readonly uid: number;
}

export interface Composed {
  readonly credentials: Credentials;
  /** Null: there is no gateway. `isOpen`: the fleet has been restored. */
  open(house: House, isOpen: () => boolean): Promise<GatewayServer | null>;
  readonly counts: () => ModelCounts;
}

/** Throws Failure('bad-input') for a table of prices that cannot be read. */
export async function composeCredentials(around: Around): Promise<Composed> {
  const { config, clock, log, veil, uid } = around;
  const { secrets, memoryDirs, models } = config.credentials;
  const sources = { env: config.env, ...secrets };
  const resolve: ResolveSecrets = async (refs) => {
    const values = await resolveSecrets(refs, sources);
    veil.add(values.values());
    return values;
  };
  const counted = tallies();
  const table = await tableOf(models.prices);
  const keys = await virtualKeys(join(config.dataDir, 'secrets', 'gateway'), log);
  const upstreams = { anthropic: at(models.anthropic), openai: at(models.openai) };
  function at(given: UpstreamConfig | null): Upstream | null {
    return (
      given && upstreamOf(given, { clock, veil, resolve: (ref) => resolveSecrets([ref], ownSources(config)) })
    );
  }
  const listening: { server: GatewayServer | null } = { server: null };
  const providers = new Set((['anthropic', 'openai'] as const).filter((one) => upstreams[one] !== null));
  return {
    counts: counted.counts,
    credentials: {
      resolve,
      files: secretFiles({ places: memoryDirs, dataDir: config.dataDir, uid }),
      models: providers.size === 0 ? null : doorOf({ providers, keys, veil, listening }),
      hide: veil.hide,
    },
    async open(house, isOpen) {
      if (providers.size === 0) return null;
      const asked = treasury(house, isOpen);
      const forward = forwarding({
        upstreams,
        keys,
        prices: table,
        treasury: asked,
        tallies: counted,
        clock,
        log,
      });
      const socketPath = socketPathOf(config, log);
      const portFile = join(config.dataDir, 'gateway', 'port');
      const door = { listen: models.listen, portFile, socketPath, forward, clock, log };
      listening.server = await gatewayServer(door);
      log.info('models are reached by the gateway', {
        address: listening.server.url,
        providers: [...providers],
        prices: `${models.prices === null ? '' : `${models.prices}, then `}those built in, of ${table.asOf}`,
      });
      return listening.server;
    },
  };
}

interface Opening {
  readonly providers: ReadonlySet<Provider>;
  readonly keys: VirtualKeys;
  readonly veil: Veil;
  readonly listening: { readonly server: GatewayServer | null };
}

const doorOf = ({ providers, keys, veil, listening }: Opening): ModelDoor => ({
  providers,
  url() {
    if (!listening.server) throw new Failure('busy', 'the gateway to models does not listen yet');
    return listening.server.url;
  },
  async mint(spender) {
    const key = await keys.mint(spender);
    veil.add([key]);
    return key;
  },
  forget: keys.forget,
  sweep: keys.sweep,
});

async function tableOf(path: string | null): Promise<Prices> {
  if (path === null) return prices(null);
  const text = await readFile(path, 'utf8').catch((thrown: NodeJS.ErrnoException) => {
    throw new Failure('bad-input', `AGENTIC_MODEL_PRICES: ${path} cannot be read (${thrown.code})`);
  });
  return prices(text);
}

/** The operator's own references may name any variable and file. */
const ownSources = ({ env, credentials }: Config) => ({
  env,
  names: ['*'],
  dirs: ['/'],
  commands: credentials.secrets.commands,
});

interface Keeping {
  readonly clock: Clock;
  readonly veil: Veil;
  readonly resolve: (ref: SecretRef) => Promise<ReadonlyMap<string, string>>;
}

/** A key that is a reference is read when it is needed, and again after a while or when it is refused. */
function upstreamOf({ baseUrl, key }: UpstreamConfig, { clock, veil, resolve }: Keeping): Upstream {
  const [, source, of = ''] = /^(env|file|command):(.+)$/.exec(key) ?? [];
  let kept: { readonly value: string; readonly until: number } | null = null;
  const read = async (): Promise<string> => {
    if (source === undefined) return key;
    const ref = { name: 'KEY', source: source as SecretRef['source'], key: of };
    return (await resolve(ref)).get('KEY') ?? '';
  };
  if (source === undefined) veil.add([key]);
  return {
    baseUrl,
    async key() {
      if (kept && kept.until > clock.now()) return kept.value;
      const value = await read();
      veil.add([value]);
      kept = { value, until: clock.now() + KEY_KEPT_MS };
      return value;
    },
    forgetKey() {
      kept = null;
    },
  };
}

function socketPathOf({ dataDir }: Config, log: Log): string | null {
  const path = join(dataDir, 'gateway', 'models.sock');
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return path;
  log.warn('the path is too long for a socket of the model gateway; only its address is there', { path });
  return null;
}
