/** What an image is made of, as SPDX 2.3 JSON: the Debian packages that dpkg lists, and those of npm. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EPOCH_SECONDS } from './recipes.ts';
import { sha256Of } from './run.ts';

export interface Component {
  readonly kind: 'deb' | 'npm' | 'generic';
  readonly name: string;
  readonly version: string;
  readonly architecture?: string;
  /** As the lock file has it. */
  readonly integrity?: string;
}

/** Installed packages by dpkg's own record. */
export function debianComponents(root: string): readonly Component[] {
  const text = readFileSync(join(root, 'var/lib/dpkg/status'), 'utf8');
  return text
    .split('\n\n')
    .flatMap((stanza) => {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1] ?? '';
      if (!field('Status').endsWith(' installed')) return [];
      const [name, version, architecture] = [field('Package'), field('Version'), field('Architecture')];
      return [{ kind: 'deb' as const, name, version, architecture }];
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Those of a lock file of Bun that were installed. */
export function npmComponents(lock: string, installed: ReadonlySet<string>): readonly Component[] {
  // Bun's lock file is JSON with commas at the ends of lists.
  const { packages } = JSON.parse(lock.replace(/,(\s*[}\]])/g, '$1')) as {
    packages: Record<string, readonly unknown[]>;
  };
  return Object.entries(packages).flatMap(([name, entry]) => {
    if (!installed.has(name)) return [];
    const spec = String(entry[0]);
    const integrity = String(entry.at(-1));
    return [{ kind: 'npm' as const, name, version: spec.slice(spec.lastIndexOf('@') + 1), integrity }];
  });
}

const purl = ({ kind, name, version, architecture }: Component): string =>
  kind === 'deb'
    ? `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}`
    : `pkg:${kind}/${name.replace('@', '%40')}@${version}`;

/** `image` is its id: the document is about exactly that one. */
export function spdx(name: string, image: string, components: readonly Component[]): object {
  const id = (component: Component, i: number) =>
    `SPDXRef-${i}-${`${component.kind}-${component.name}`.replace(/[^A-Za-z0-9.-]/g, '-')}`;
  const packages = components.map((component, i) => ({
    SPDXID: id(component, i),
    name: component.name,
    versionInfo: component.version,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: 'NOASSERTION',
    copyrightText: 'NOASSERTION',
    externalRefs: [
      { referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl(component) },
    ],
    ...(component.integrity === undefined ? {} : { comment: `integrity ${component.integrity}` }),
  }));
  const root = 'SPDXRef-image';
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: `agentic-sandbox/${name}`,
    documentNamespace: `urn:agentic-sandbox:sbom:${name}:${sha256Of(image)}`,
    creationInfo: {
      created: new Date(EPOCH_SECONDS * 1_000).toISOString().replace('.000', ''),
      creators: ['Tool: agentic-sandbox-images'],
    },
    packages: [
      {
        SPDXID: root,
        name: `agentic-sandbox/${name}`,
        versionInfo: image,
        downloadLocation: 'NOASSERTION',
        filesAnalyzed: false,
        licenseConcluded: 'NOASSERTION',
        licenseDeclared: 'NOASSERTION',
        copyrightText: 'NOASSERTION',
        primaryPackagePurpose: 'CONTAINER',
      },
      ...packages,
    ],
    relationships: [
      { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: root },
      ...packages.map(({ SPDXID }) => ({
        spdxElementId: root,
        relationshipType: 'CONTAINS',
        relatedSpdxElement: SPDXID,
      })),
    ],
  };
}
