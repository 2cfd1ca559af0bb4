/**
 * What each image holds. An image stands on another one and adds to it; data only, the builder is in
 * build.ts.
 *
 *     base ─┬─ dev
 *           └─ node ─┬─ claude
 *                    ├─ codex
 *                    └─ opencode
 */

/** The tool of an image: packages pinned by `images/npm/<name>/bun.lock`, with the sum of every one. */
export interface NpmTool {
  readonly name: string;
  /** The package that holds the program for this processor, and the program in it. */
  readonly program: { readonly x64: string; readonly arm64: string };
  /** Directories of helpers beside it, put on the PATH for it alone. */
  readonly helpers?: { readonly x64: string; readonly arm64: string };
}

export interface Recipe {
  readonly name: string;
  /** The image it stands on; null: none. */
  readonly on: string | null;
  /** Debian packages, besides those of the image below. */
  readonly packages: readonly string[];
  readonly npm: NpmTool | null;
  /** The command that shows that it works, run as an instance would be. */
  readonly smoke: readonly string[];
  readonly summary: string;
}

/** The Debian release everything is taken from. */
export const SUITE = 'bookworm';
/** Every file that a build makes gets at most this time: 2026-01-01. */
export const EPOCH_SECONDS = 1_767_225_600;
/** The user that everything in an instance runs as. */
export const AGENT_UID = 10_001;

export const recipes: readonly Recipe[] = [
  {
    name: 'base',
    on: null,
    packages: ['bash', 'coreutils', 'ca-certificates', 'git', 'procps', 'tini'],
    npm: null,
    smoke: ['agent-client', '--version'],
    summary: 'a shell, git, and the agent client',
  },
  {
    name: 'dev',
    on: 'base',
    packages: [
      'build-essential',
      'curl',
      'fd-find',
      'jq',
      'less',
      'nodejs',
      'openssh-client',
      'python3',
      'python3-venv',
      'ripgrep',
      'tmux',
      'unzip',
    ],
    npm: null,
    smoke: [
      'sh',
      '-c',
      'gcc --version && python3 --version && node --version && rg --version && jq --version',
    ],
    summary: 'compilers, Python, Node and the usual tools',
  },
  {
    name: 'node',
    on: 'base',
    packages: ['nodejs', 'ripgrep'],
    npm: null,
    smoke: ['node', '--version'],
    summary: 'Node, for the tools above it',
  },
  {
    name: 'claude',
    on: 'node',
    packages: [],
    npm: {
      name: 'claude',
      program: {
        x64: '@anthropic-ai/claude-code-linux-x64/claude',
        arm64: '@anthropic-ai/claude-code-linux-arm64/claude',
      },
    },
    smoke: ['claude', '--version'],
    summary: 'Claude Code',
  },
  {
    name: 'codex',
    on: 'node',
    packages: [],
    npm: {
      name: 'codex',
      program: {
        x64: '@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex',
        arm64: '@openai/codex-linux-arm64/vendor/aarch64-unknown-linux-musl/bin/codex',
      },
      helpers: {
        x64: '@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/codex-path',
        arm64: '@openai/codex-linux-arm64/vendor/aarch64-unknown-linux-musl/codex-path',
      },
    },
    smoke: ['codex', '--version'],
    summary: 'Codex',
  },
  {
    name: 'opencode',
    on: 'node',
    packages: [],
    npm: {
      name: 'opencode',
      program: {
        x64: 'opencode-linux-x64-baseline/bin/opencode',
        arm64: 'opencode-linux-arm64/bin/opencode',
      },
    },
    smoke: ['opencode', '--version'],
    summary: 'OpenCode',
  },
];

export function recipeNamed(name: string): Recipe {
  const found = recipes.find((recipe) => recipe.name === name);
  if (found) return found;
  throw new Error(`there is no image "${name}"; there are ${recipes.map((one) => one.name).join(', ')}`);
}

/** All Debian packages of an image, those of the images below it included. */
export function packagesOf(recipe: Recipe): readonly string[] {
  const below = recipe.on === null ? [] : packagesOf(recipeNamed(recipe.on));
  return [...new Set([...below, ...recipe.packages])].sort();
}
