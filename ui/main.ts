/** Starts the dashboard: colours first, then the page, then the feed that fills it. */
import { render } from 'preact';
import { learnCaller } from './state/caller.ts';
import { startFeed, startPolling } from './state/feed.ts';
import { h } from './view/h.ts';
import { listenForKeys } from './view/keys.ts';
import { Shell } from './view/shell.ts';
import { restoreTheme } from './view/theme.ts';

restoreTheme();
const root = document.getElementById('app');
if (root) render(h(Shell, {}), root);
listenForKeys();
startPolling();
learnCaller();
startFeed();
