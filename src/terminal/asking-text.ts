/**
 * Prompts that want words: secrets, names, values. Pure text, plus what the agent saw of the terminal's echo.
 */
import type { TerminalState } from '../agent-link.ts';

const secretWords =
  /pass(?:word|phrase|code|wd)|pass phrase|\bpin\b|\bsecret\b|\btoken\b|api[ _-]?key|access[ _-]?key|private key|\botp\b|one[- ]time (?:code|password)|\b2fa\b|two-factor|verification code|credential|mot de passe|contraseña|clave|pa(?:ss|ß)wort|kennwort|senha|hasło|heslo|wachtwoord|lösenord|пароль|密码|密碼|パスワード|비밀번호/iu;
const notSecret =
  /\b(?:file|path|name|id|length|location|policy|hint|manager|expire[sd]?|username|url|number of|how many|store)\b/iu;
const ends = /[:：?？>›»…]\s*$|\]\s*$|\)\s*$/u;

export function isSecret(text: string, evidence: TerminalState | null): boolean {
  const hidden = evidence !== null && !evidence.echo && evidence.canonical;
  if (hidden && /[:：?？>)\]]\s*$/u.test(text)) return true;
  if (!secretWords.test(text) || text.length > 300) return false;
  const tail = text.split(/(?<=[.!?])\s+/u).at(-1) ?? text;
  if (!secretWords.test(tail) && !/passphrase|password/iu.test(text)) return false;
  if (
    /[?？]\s*$/u.test(text) &&
    /^(?:do|does|is|are|would|should|can|could|use|save|show|reset|change)\b/iu.test(text)
  )
    return false;
  if (/[[(][yYnN][/|,]/u.test(text)) return false;
  const strong = /pass(?:word|phrase|code)/iu.test(tail) && !/\bfile|path|username|manager\b/iu.test(tail);
  return ends.test(text) && (strong || !notSecret.test(tail));
}

const imperative =
  /^(?:\S+:\s+)?(?:please\b|enter\b|type\b|input\b|provide\b|specify\b|choose\b|select\b|pick\b|give\b|name\b|what\b|which\b|where\b|who\b|whom\b|whose\b|how\b|when\b|why\b|your\b|new\b|set\b|describe\b|paste\b|write\b|tell\b|add\b|search\b|say\b|username\b|user\b|login\b|e-?mail\b|url\b)/iu;
const local =
  /^(?:bitte\b|geben|eingabe|entrez|saisir|veuillez|introduzca|ingrese|escriba|digite|inserisci|введите|请输入|入力)/iu;
const busy =
  /^(?:\S+:\s+)?(?:\w+ing|waiting|loading|done|ok|error|warning|note|info|debug|fatal|failed|usage|total|time|elapsed|status|result|output|progress|remote|test|tests|pass|fail|trace|eta|step|stage|phase|target|from|to|at|in|on|and|or|the)\b(?!.*\?)/iu;
const logged =
  /^\[?\d{2,4}[-/:.]\d{2}|^\[(?:info|warn|error|debug|trace)|^(?:info|warn|error|debug|trace)\b|^(?:make|npm|yarn|pnpm|cargo|docker|error)\b\s*[[:!]/iu;

/**
 * How sure it is that a line wants words; null when it does not read like it. `led`: a question stands right
 * above.
 */
export function isText(text: string, gap: number, led: boolean): number | null {
  const letters = /\p{L}/u.test(text);
  if (!letters) return led && /^[>›»:?]+$/u.test(text) ? 0.88 : null;
  if (text.length > 300 || logged.test(text) || /\.{3}$|…$/u.test(text)) return null;
  const asksFor = imperative.test(text) || local.test(text);
  const question = /[?？]\s*(?:[›»>:]|\([^()]{0,60}\)\s*:?|\[[^[\]]{0,60}\]\s*:?)?$/u.test(text);
  if (question && (gap > 0 || asksFor))
    return asksFor || /\b(?:what|which|where|who|how|when|why)\b/iu.test(text) ? 0.93 : 0.88;
  const value = /\[[^[\]]{0,80}\]\s*[:：>]?$|\([^()]{1,80}\)\s*[:：]?$/u.test(text);
  const colon = /[:：]$/u.test(text) || /[:：]\s*(?:\([^()]{1,80}\)|\[[^[\]]{0,80}\])$/u.test(text);
  if (asksFor && (colon || (/[>›»]$/u.test(text) && gap > 0))) return 0.93;
  if (busy.test(text)) return null;
  if (value && colon) return 0.9;
  if (!colon || text.split(/\s+/u).length > 10) return null;
  // A plain label such as "City:": a blank behind it is the mark of a prompt.
  return gap > 0 ? 0.88 : text.split(/\s+/u).length <= 5 ? 0.86 : 0.75;
}
