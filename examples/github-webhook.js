// Receives GitHub's webhooks and keeps issues and pushed commits as rows.
//
// Point a webhook with the preset "github" at this function: the platform checks the signature and answers GitHub at
// once; this code runs afterwards, with the request's headers in zmesh.request and its JSON body as the payload.
// GitHub sends an event again when in doubt, so every write is an upsert.

const TABLES = `
  select pg_advisory_xact_lock(hashtext('github'));  -- "if not exists" alone can fail for two runs at once
  create table if not exists github_issues (
    repository text, number integer, title text, state text, author text, labels jsonb, updated_at timestamptz,
    primary key (repository, number)
  );
  create table if not exists github_commits (
    repository text, sha text, branch text, author text, message text, committed_at timestamptz,
    primary key (repository, sha)
  )`;

const handlers = {
  async ping(event) {
    return { zen: event.zen };
  },

  async issues(event, db) {
    const { issue, repository } = event;
    // The condition keeps an older event that arrives late from overwriting a newer one.
    await db.query(
      `insert into github_issues values ($1, $2, $3, $4, $5, $6::jsonb, $7)
       on conflict (repository, number) do update
         set title = excluded.title, state = excluded.state, labels = excluded.labels, updated_at = excluded.updated_at
       where github_issues.updated_at <= excluded.updated_at`,
      [
        repository.full_name,
        issue.number,
        issue.title,
        issue.state,
        issue.user.login,
        JSON.stringify(issue.labels.map((label) => label.name)),
        issue.updated_at,
      ],
    );
    return { issue: issue.number, action: event.action };
  },

  async push(event, db) {
    const branch = event.ref.replace("refs/heads/", "");
    for (const commit of event.commits) {
      await db.query(
        `insert into github_commits values ($1, $2, $3, $4, $5, $6) on conflict do nothing`,
        [event.repository.full_name, commit.id, branch, commit.author.name, commit.message, commit.timestamp],
      );
    }
    return { commits: event.commits.length, branch };
  },
};

exports.handler = async (event, zmesh) => {
  const name = zmesh.request?.headers["x-github-event"];
  if (!name) throw new Error("the header X-GitHub-Event is missing: make a webhook for this function, with the preset github");
  const handle = handlers[name];
  if (!handle) {
    console.warn(`event ${name} is ignored`);
    return { ignored: name };
  }
  await zmesh.db.query(TABLES);
  return handle(event, zmesh.db);
};
