// Prints the signature that GitHub's own library gives to standard input with the secret of the first argument.
import { readFileSync } from 'node:fs';
import { sign } from '@octokit/webhooks-methods';

process.stdout.write(await sign(process.argv[2], readFileSync(0, 'utf8')));
