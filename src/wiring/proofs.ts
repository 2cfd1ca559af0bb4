/** What the house needs of whoever keeps secrets and the gateway to models. */
import type { Spender } from '../spending.ts';
import type { SecretFiles } from '../tasks/secret-files.ts';
import type { ResolveSecrets } from '../tasks/secrets.ts';

export type Provider = 'anthropic' | 'openai';

/** The gateway to models, as the house knows it. */
export interface ModelDoor {
  readonly providers: ReadonlySet<Provider>;
  /** Where an instance on this host reaches it, without a slash at its end. */
  url(): string;
  mint(spender: Spender): Promise<string>;
  forget(session: string): Promise<void>;
  sweep(isLive: (session: string) => boolean): Promise<void>;
}

export interface Credentials {
  /** Also lets the log know what to hide. */
  readonly resolve: ResolveSecrets;
  readonly files: SecretFiles;
  /** Null: this server has no key of any provider. */
  readonly models: ModelDoor | null;
  /** Takes known secrets out of a text. */
  hide(text: string): string;
}
