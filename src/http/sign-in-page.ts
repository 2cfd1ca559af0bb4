/** The page that asks for a token. It has no script; the form keeps the fragment of the address. */

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (one) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[one] ?? one);

/** `trouble`: what was wrong with the last try. */
export const signInPage = (trouble: string | null): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Sign in · agentic-sandbox</title>
<link rel="stylesheet" href="/sign-in/style.css">
</head>
<body>
<main>
<h1>agentic-sandbox</h1>
<p id="hint">This server asks who is there. An admin makes a token for you in
<code>POST /api/v1/tokens</code>; the first one is made on its machine by
<code>bun run token:create</code>.</p>
<form method="post">
<label for="token">Operator token</label>
<input id="token" name="token" type="password" required autofocus autocomplete="current-password"
spellcheck="false" maxlength="200" aria-describedby="${trouble === null ? 'hint' : 'trouble hint'}"${
  trouble === null ? '' : ' aria-invalid="true"'
}>
${trouble === null ? '' : `<p id="trouble" role="alert">${escaped(trouble)}</p>`}
<button>Sign in</button>
</form>
</main>
</body>
</html>
`;

export const signInStyle = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#f4f5f7, #0e1116); --card: light-dark(#ffffff, #161b22); --line: light-dark(#c3cad4, #3a434f);
  --text: light-dark(#1b2029, #e4e8ee); --soft: light-dark(#4d5766, #a7b1bf); --go: light-dark(#1d4ed8, #7aa7ff);
  --on-go: light-dark(#ffffff, #0b1020); --bad: light-dark(#b3261e, #ff9d94);
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--ground);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 26rem; padding: 1.75rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; }
h1 { margin: 0 0 .75rem; font-size: 1.25rem; }
p { margin: 0 0 1.25rem; color: var(--soft); font-size: .9rem; }
code { font: .85em ui-monospace, monospace; color: var(--text); }
label { display: block; margin-bottom: .35rem; font-weight: 600; }
input { width: 100%; padding: .6rem .7rem; font: 15px ui-monospace, monospace; color: inherit; background: var(--ground);
  border: 1px solid var(--line); border-radius: 8px; }
input[aria-invalid] { border-color: var(--bad); }
#trouble { margin: .5rem 0 0; color: var(--bad); }
button { width: 100%; margin-top: 1rem; padding: .65rem; font: inherit; font-weight: 600; color: var(--on-go);
  background: var(--go); border: 0; border-radius: 8px; cursor: pointer; }
:focus-visible { outline: 3px solid var(--go); outline-offset: 2px; }
`;
