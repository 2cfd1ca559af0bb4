/** SPIFFE ids: who a certificate is for, as one URI. `spiffe://<trust domain>/instance/<uuid>`. */

/** As in a DNS name, and no port; upper case would make two of one. */
export const trustDomainPattern =
  /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
const uuid = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const pattern = new RegExp(`^spiffe://([a-z0-9.-]{1,255})/instance/(${uuid})$`);

export const spiffeIdOf = (domain: string, instanceId: string): string =>
  `spiffe://${domain}/instance/${instanceId}`;

export const serverIdOf = (domain: string): string => `spiffe://${domain}/server`;

/** A name that every certificate of the server has, whatever its address is. */
export const serverNameOf = (domain: string): string => `server.${domain}`;

/** Null for what is no id of an instance. */
export function instanceOf(
  spiffeId: string,
): { readonly domain: string; readonly instanceId: string } | null {
  const [, domain, instanceId] = pattern.exec(spiffeId) ?? [];
  if (domain === undefined || instanceId === undefined || !trustDomainPattern.test(domain)) return null;
  return { domain, instanceId };
}

/**
 * The one URI among the names of a certificate, as node:crypto writes them (`URI:a, DNS:b`); null when there
 * are none or several. A name with a quote or comma in it is written in quotes, and is not ours.
 */
export function onlyUriOf(subjectAltName: string | undefined): string | null {
  const uris = (subjectAltName ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  return uris.length === 1 && !subjectAltName?.includes('"') ? (uris[0] as string).slice(4) : null;
}
