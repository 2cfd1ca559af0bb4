/**
 * The user inside, as this host knows it, as far as that is needed to give files away: the same where the
 * engine has no user namespace, and one of those that the engine was given where it runs as root with
 * `userns-remap`. Rootless nobody but the engine can give any, and it is not told.
 */
import type { Ids } from './container-files.ts';
import { AGENT_UID } from './container-spec.ts';
import type { Engine } from './engine.ts';

/** Null: only the engine knows. */
export function userOutside(engine: Pick<Engine, 'hasUserNamespace' | 'idsFrom'>): Ids | null {
  const { hasUserNamespace, idsFrom } = engine;
  if (!hasUserNamespace) return { uid: AGENT_UID, gid: AGENT_UID };
  return idsFrom === null ? null : { uid: idsFrom.uid + AGENT_UID, gid: idsFrom.gid + AGENT_UID };
}
