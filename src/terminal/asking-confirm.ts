/**
 * The ways a line says which answers it takes: `[Y/n]`, `(yes/no/[fingerprint])`, `[y,n,q,a,d,e,?]`,
 * `(A)bort, (R)etry`,
 * `y or n`, `(yes)`. Pure text; where the line stands on the screen is somebody else's question.
 */
import type { QuestionOption } from '../terminal.ts';

export interface Choices {
  readonly kind: 'confirm' | 'choice';
  readonly options: readonly QuestionOption[];
  /** The line itself says that one key is enough. */
  readonly key: boolean;
}

const yes = new Set([
  'y',
  'yes',
  'yep',
  'yeah',
  'ja',
  'j',
  'oui',
  'o',
  'si',
  'sí',
  's',
  'sim',
  'да',
  'д',
  'tak',
  't',
  'e',
  'evet',
  'はい',
  '是',
  'ok',
  'true',
]);
const no = new Set([
  'n',
  'no',
  'nope',
  'nein',
  'nee',
  'non',
  'não',
  'nao',
  'нет',
  'н',
  'nie',
  'h',
  'hayır',
  'いいえ',
  '否',
  'cancel',
  'false',
]);
const beside = new Set(['?', 'h', 'help', '[fingerprint]', 'fingerprint']);

const item = String.raw`(?:\[?[\p{L}\p{N}?*+!#][\p{L}\p{N}'’_-]{0,18}\]?|\?)`;
const separator = String.raw`\s*(?:\/|,|\||\bor\b)\s*`;
const tail = String.raw`[\s?？:：>›»‣.…]*(?:\s*[\[(](?:default|Default)[^\])]*[\])])?[\s?？:：>›»‣…]*`;
const group = new RegExp(String.raw`[\[(<{（]\s*(${item}(?:${separator}${item})+)\s*[\])>}）]${tail}$`, 'iu');
const bare = new RegExp(
  String.raw`(?:^|[\s,:;.?!(（-])((?:y|yes|Y|ja?|oui|o|s[ií]?|д|да)\]?\s*(?:\/|\||,|\bor\b)\s*\[?(?:n|no|nein|non|nee|н|нет)\]?)\)?${tail}$`,
  'iu',
);
const sole = new RegExp(String.raw`[\[(](y|yes|n|no|Y|N)[\])]${tail}$`, 'u');
const lettered = /[[(](\p{L}|\p{N}{1,2}|\?)[\])]([\p{L}][\p{L}'’-]*(?:[ -](?!or\b)[\p{L}'’-]+){0,3})?/gu;
const letterTail = /(?:\s*[[(<][\p{L}\p{N} =]{1,20}[\])>])?[\s?？:：>›…]*$/u;
const oneKey = /\bpress\s+['"`[(<]?[yn]\b|\bhit\s+['"`[(<]?[yn]\b/i;

/** The answers a prompt offers at its very end; null when it names none. */
export function choicesOf(prompt: string): Choices | null {
  const key = oneKey.test(prompt);
  const letters = lettersOf(prompt);
  if (letters !== null) return { ...letters, key };
  const inside = group.exec(prompt)?.[1] ?? bare.exec(prompt)?.[1];
  if (inside !== undefined) {
    const items = inside
      .split(/\s*(?:\/|,|\||\bor\b)\s*/iu)
      .map((word) => word.replace(/^\[(.*)\]$|^\[|\]$/gu, '$1'))
      .filter((word) => word !== '');
    const made = choicesFrom(items);
    return made === null ? null : { ...made, key };
  }
  const only = sole.exec(prompt)?.[1];
  if (only !== undefined)
    return { kind: 'confirm', options: only.length > 1 ? yesNo('yes', 'no') : yesNo('y', 'n'), key };
  return null;
}

function choicesFrom(items: readonly string[]): Omit<Choices, 'key'> | null {
  const real = items.filter(
    (word) => !beside.has(word.toLowerCase()) || (no.has(word.toLowerCase()) && items.length === 2),
  );
  const affirm = real.find((word) => yes.has(word.toLowerCase()));
  const refuse = real.find((word) => no.has(word.toLowerCase()) && word !== affirm);
  if (affirm !== undefined && refuse !== undefined && real.length === 2) {
    return { kind: 'confirm', options: yesNo(affirm.toLowerCase(), refuse.toLowerCase()) };
  }
  // `(optional/required)` or `[foo/bar.txt]` are words about an answer, not answers, unless they are keys.
  const keys = items.every((word) => word.length <= 1) || affirm !== undefined || refuse !== undefined;
  if (!keys && (items.length < 2 || items.some((word) => word.length > 14))) return null;
  return { kind: 'choice', options: items.map((word) => choice(word, word)) };
}

function lettersOf(prompt: string): Omit<Choices, 'key'> | null {
  const found = [...prompt.matchAll(lettered)].filter((match) => match[2] !== undefined || match[1] === '?');
  const last = found.at(-1);
  const first = found[0];
  if (found.length < 2 || first === undefined || last === undefined) return null;
  const rest = prompt.slice((last.index ?? 0) + last[0].length);
  if (!letterTail.test(rest) || rest.replace(letterTail, '') !== '') return null;
  const items = found.map((match) => ({ letter: match[1] ?? '', label: `${match[1]}${match[2] ?? ''}` }));
  const bodies = items.map((each) => each.letter.toLowerCase());
  if (items.length === 2 && yes.has(bodies[0] ?? '') && no.has(bodies[1] ?? '')) {
    return { kind: 'confirm', options: yesNo('y', 'n') };
  }
  return { kind: 'choice', options: items.map((each) => choice(each.letter, each.label)) };
}

function choice(key: string, label: string): QuestionOption {
  return { id: key, label, keys: `${key}\r` };
}

export function yesNo(affirm: string, refuse: string): QuestionOption[] {
  return [
    { id: 'yes', label: 'Yes', keys: `${affirm}\r` },
    { id: 'no', label: 'No', keys: `${refuse}\r` },
  ];
}

const asksYesNo =
  /^(?:[\w./-]+:\s+)?(?:do|does|did|is|are|was|were|can|could|would|will|should|shall|may|must|have|has|ok|okay|continue|proceed|overwrite|remove|delete|replace|confirm|accept|agree|install|uninstall|retry|abort|quit|exit|save|discard|keep|enable|disable|really|try|use|create|restart|reboot|reset|merge|push|publish|deploy|apply|allow|trust|descend|start|stop|upgrade|update|download|override|commit|ignore|skip|include|add|move|copy|stage|unstage|revert|unlink|format|erase|wipe|extract|restore|kill|send|load|import|export|sign|mount|unmount|open|close|clear|drop|purge|archive|rename|link|grant|revoke|switch|generate|regenerate|register|terminate|shutdown|reload|unpack|compress|sync|fix)\b/i;
const open = /^(?:[\w./-]+:\s+)?(?:\S+\s){0,4}?(?:what|which|where|who|whom|whose|how|when|why)\b/i;

/** A question without named answers that still wants yes or no: `rm: remove regular file 'x'?` */
export function wantsYesNo(prompt: string): boolean {
  // `touch a b?...` of xargs -p, `< rm ... ./a > ?` of find -ok: the command itself is the question.
  if (/\S\s?\?\.\.\.$/u.test(prompt) || /^<\s.+>\s\?$/u.test(prompt)) return true;
  const sentence = prompt.split(/(?<=[.!])\s+/u).at(-1) ?? prompt;
  return /[?？][\s›»]*$/u.test(prompt) && asksYesNo.test(sentence) && !open.test(sentence);
}
