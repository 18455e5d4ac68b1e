/** @type {import('../zmesh').Handler<{ name?: string }>} */
exports.handler = async (payload, zmesh) => {
  return { message: `${zmesh.env.GREETING}, ${payload.name ?? "stranger"}!` };
};
