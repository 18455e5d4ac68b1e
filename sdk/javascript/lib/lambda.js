'use strict';
// Handlers of AWS Lambda: handler(event, context), called with events of API Gateway's payload format 2.0 for HTTP requests.

const { isUtf8 } = require('node:buffer');
const { Failure } = require('./failures.js');
const { RawResponse } = require('./http.js');
const { NotJson, toJson } = require('./results.js');

const TEXT = /^text\/|[/+](json|xml|javascript|x-www-form-urlencoded)$/;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** callable(payload, zmesh) for handler(event, context) or handler(event, context, callback). */
function lambdaHandler(handler, limits) {
  return async (payload, zmesh) => {
    const event = zmesh.request ? eventOf(zmesh) : payload;
    const result = await called(handler, event, contextOf(zmesh, limits));
    return zmesh.request ? responseOf(result) : result;
  };
}

function called(handler, event, context) {
  return new Promise((resolve, reject) => {
    const callback = (error, result) => (error === null || error === undefined ? resolve(result) : reject(error));
    const returned = handler(event, context, callback);
    if (typeof returned?.then === 'function') returned.then(resolve, reject);
    else if (handler.length < 3) resolve(returned);
  });
}

function eventOf({ request, invocation }) {
  const { cookie, ...headers } = request.headers;
  const query = Object.entries(request.queryAll).map(([name, values]) => [name, values.join(',')]);
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: request.rawPath || '/',
    rawQueryString: request.rawQuery,
    ...(cookie && { cookies: cookie.split(/;\s*/) }),
    headers,
    ...(query.length > 0 && { queryStringParameters: Object.fromEntries(query) }),
    requestContext: requestContextOf(request, invocation),
    ...bodyOf(request),
  };
}

function requestContextOf({ method, rawPath, headers }, { id, function: name }) {
  const now = new Date();
  return {
    accountId: 'anonymous',
    apiId: name,
    domainName: headers.host ?? 'localhost',
    domainPrefix: (headers.host ?? 'localhost').split('.')[0],
    http: {
      method,
      path: rawPath || '/',
      protocol: 'HTTP/1.1',
      sourceIp: (headers['x-forwarded-for'] ?? '').split(',').at(-1).trim(), // what the nearest proxy added
      userAgent: headers['user-agent'] ?? '',
    },
    requestId: id ?? '',
    routeKey: '$default',
    stage: '$default',
    time: commonLogTime(now),
    timeEpoch: now.getTime(),
  };
}

/** As in "12/Mar/2020:19:03:58 +0000". */
function commonLogTime(time) {
  const [year, month, day] = time.toISOString().slice(0, 10).split('-');
  return `${day}/${MONTHS[month - 1]}/${year}:${time.toISOString().slice(11, 19)} +0000`;
}

function bodyOf({ body, headers }) {
  if (body.length === 0) return { isBase64Encoded: false };
  const type = (headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();
  const isText = !headers['content-encoding'] && TEXT.test(type) && isUtf8(body);
  return { body: body.toString(isText ? 'utf8' : 'base64'), isBase64Encoded: !isText };
}

function contextOf(zmesh, { memory_bytes: memory, timeout_ms: timeout }) {
  const { id, function: functionName, version } = zmesh.invocation;
  const end = Date.now() + timeout;
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName,
    functionVersion: String(version ?? '$LATEST'),
    invokedFunctionArn: `arn:zmesh:lambda:local:000000000000:function:${functionName}`,
    memoryLimitInMB: String(Math.floor(memory / 1024 ** 2)),
    awsRequestId: id ?? '',
    logGroupName: `/zmesh/${functionName}`,
    logStreamName: id ?? '',
    getRemainingTimeInMillis: () => Math.max(0, end - Date.now()),
    zmesh,
  };
}

/** What API Gateway makes of a result: a response where it has a statusCode, else JSON with status 200. */
function responseOf(result) {
  if (result instanceof RawResponse) return result;
  const isResponse = typeof result === 'object' && result !== null && 'statusCode' in result;
  if (isResponse) return statedResponse(result);
  const body = typeof result === 'string' ? result : jsonOf(result);
  return new RawResponse(body, { headers: { 'content-type': 'application/json' } });
}

function jsonOf(result) {
  try {
    return toJson(result);
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    throw new Failure('invalid_result', `the result is not JSON: ${error.message}`);
  }
}

function statedResponse({ statusCode, headers = {}, multiValueHeaders = {}, cookies = [], body = '', isBase64Encoded = false }) {
  if (typeof body !== 'string' && body !== null) {
    throw new Failure('invalid_result', `body must be text (got ${typeof body}): use JSON.stringify(body), or base64 with isBase64Encoded: true`);
  }
  const merged = { ...headers, ...multiValueHeaders };
  const lines = [...Object.entries(merged), ...cookies.map((cookie) => ['set-cookie', cookie])];
  const content = isBase64Encoded ? Buffer.from(body ?? '', 'base64') : body;
  return new RawResponse(content?.length ? content : null, { status: Number(statusCode), headers: lines });
}

module.exports = { lambdaHandler };
