/**
 * Reads a unified diff, as git writes it, into files and numbered lines. Pure.
 *
 * Lines it does not understand are kept as notes: nothing of a patch is hidden.
 */
export interface DiffLine {
  readonly kind: 'context' | 'added' | 'removed' | 'hunk' | 'note';
  readonly text: string;
  readonly oldLine: number | null;
  readonly newLine: number | null;
}

export interface DiffFile {
  readonly path: string;
  readonly change: 'modified' | 'added' | 'deleted' | 'renamed' | 'binary';
  readonly added: number;
  readonly removed: number;
  readonly lines: readonly DiffLine[];
}

interface Draft {
  path: string;
  change: DiffFile['change'];
  lines: DiffLine[];
  oldLine: number;
  newLine: number;
  /** Lines the present hunk still owes, so that a removed line `-- x` is not taken for a header. */
  oldLeft: number;
  newLeft: number;
}

export function readDiff(patch: string): DiffFile[] {
  const files: Draft[] = [];
  for (const line of patch.replace(/\n$/, '').split('\n')) {
    const file = files.at(-1);
    // Inside a hunk every line starts with a sign, so this one is never content, whatever the counts say.
    if (line.startsWith('diff --git ')) files.push(draft(pathOf(line)));
    else if (file && (file.oldLeft > 0 || file.newLeft > 0)) body(file, line);
    else if (line.startsWith('--- ') && (!file || file.lines.length > 0)) files.push(draft(''));
    else if (file) header(file, line);
    else if (line !== '') files.push({ ...draft('(patch)'), lines: [note(line)] });
  }
  return files.map(finished);
}

function draft(path: string): Draft {
  return { path, change: 'modified', lines: [], oldLine: 0, newLine: 0, oldLeft: 0, newLeft: 0 };
}

/** `diff --git a/x b/x`: both halves are the same but for renames, which say so later. */
function pathOf(line: string): string {
  const rest = line.slice('diff --git '.length);
  const quoted = rest.match(/ "b\/(.+)"$/);
  if (quoted?.[1]) return quoted[1];
  const half = rest.slice(Math.floor(rest.length / 2) + 1);
  return half.startsWith('b/') ? half.slice(2) : (rest.match(/ b\/(.+)$/)?.[1] ?? rest);
}

const hunk = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/;

function header(file: Draft, line: string): void {
  const found = line.match(hunk);
  if (found) {
    file.oldLine = Number(found[1]);
    file.oldLeft = Number(found[2] ?? 1);
    file.newLine = Number(found[3]);
    file.newLeft = Number(found[4] ?? 1);
    file.lines.push({ kind: 'hunk', text: line, oldLine: null, newLine: null });
  } else if (line.startsWith('new file')) file.change = 'added';
  else if (line.startsWith('deleted file')) file.change = 'deleted';
  else if (line.startsWith('rename to ')) Object.assign(file, { change: 'renamed', path: line.slice(10) });
  else if (line.startsWith('Binary files') || line.startsWith('GIT binary patch')) {
    file.change = 'binary';
    file.lines.push(note(line));
  } else if (line.startsWith('+++ ') && file.path === '') file.path = line.slice(4).replace(/^b\//, '');
  else if (/^\\|^(old|new) mode/.test(line)) file.lines.push(note(line));
}

function body(file: Draft, line: string): void {
  const text = line.slice(1);
  if (line.startsWith('+')) {
    file.newLeft -= 1;
    file.lines.push({ kind: 'added', text, oldLine: null, newLine: file.newLine++ });
  } else if (line.startsWith('-')) {
    file.oldLeft -= 1;
    file.lines.push({ kind: 'removed', text, oldLine: file.oldLine++, newLine: null });
  } else if (line.startsWith('\\')) file.lines.push(note(line));
  else {
    file.oldLeft -= 1;
    file.newLeft -= 1;
    file.lines.push({ kind: 'context', text, oldLine: file.oldLine++, newLine: file.newLine++ });
  }
}

function note(text: string): DiffLine {
  return { kind: 'note', text, oldLine: null, newLine: null };
}

function finished({ path, change, lines }: Draft): DiffFile {
  const count = (kind: DiffLine['kind']) => lines.filter((line) => line.kind === kind).length;
  return { path, change, lines, added: count('added'), removed: count('removed') };
}
