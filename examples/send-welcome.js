// Writes a welcome mail from a template and keeps it in the table "mails", where a mailer picks it up.
//
// Payload: { "user_id": "abc123", "name": "Rahul", "email": "rahul@example.com" }
// Only user_id is required. The function's environment variables GREETING and PRODUCT change the words.

const TEMPLATE = `{{greeting}} {{name}},

your account at {{product}} is ready. Your user id is {{user_id}}.

The {{product}} team`;

function fill(template, values) {
  return template.replace(/{{(\w+)}}/g, (_, key) => values[key]);
}

exports.handler = async (payload, zmesh) => {
  if (!payload.user_id) throw new TypeError("user_id is missing");
  const name = payload.name ?? payload.user_id;
  const text = fill(TEMPLATE, {
    greeting: zmesh.env.GREETING ?? "Hello",
    product: zmesh.env.PRODUCT ?? "zMesh",
    user_id: payload.user_id,
    name,
  });

  await zmesh.db.query(`
    select pg_advisory_xact_lock(hashtext('mails'));  -- "if not exists" alone can fail for two runs at once
    create table if not exists mails (
      id        bigint generated always as identity primary key,
      recipient text,
      subject   text not null,
      body      text not null,
      reference text unique            -- what the mail is about: one mail for each
    )`);
  // A retried or repeated call finds the mail already there and writes no second one.
  await zmesh.db.query(
    `insert into mails (recipient, subject, body, reference) values ($1, $2, $3, $4)
     on conflict (reference) do nothing`,
    [payload.email ?? null, `Welcome ${name}`, text, `welcome ${payload.user_id}`],
  );

  console.log(`welcome mail for ${payload.user_id} is ready`);
  return { message: `Welcome ${name}`, text };
};
