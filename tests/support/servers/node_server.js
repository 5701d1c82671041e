"use strict";

// The paths of tests/support/backend.py and the static files, on Node's http2 module.
// One argument: a JSON object with the options (see node.py).

const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const http2 = require("node:http2");
const https = require("node:https");
const path = require("node:path");
const zlib = require("node:zlib");

const options = JSON.parse(process.argv[2]);
const PUSHED = { "/pushing": ["/pushed-1", "/pushed-2"], "/pushing-large": ["/100m"] };
const STATIC = new Set([
  "/1k", "/100m", "/text.txt", ...Object.keys(PUSHED), ...Object.values(PUSHED).flat(),
]);
const KEPT = 1 << 20;
const HINTS = ["</style.css>; rel=preload; as=style", "</script.js>; rel=preload; as=script"];
const MEETING_TIMEOUT = 20_000;
const meetings = new Map();

function finish(request, response, status, fields, body = "") {
  response.writeHead(status, fields);
  response.end(request.method === "HEAD" ? undefined : body);
}

function json(request, response, value) {
  const body = JSON.stringify(value);
  const fields = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
  };
  finish(request, response, 200, fields, body);
}

function cookies(header) {
  const pairs = (header || "").split("; ").filter(Boolean);
  return Object.fromEntries(pairs.map((pair) => {
    const at = pair.indexOf("=");
    return [pair.slice(0, at), pair.slice(at + 1)];
  }));
}

function serveStatic(request, response, name) {
  const file = path.join(options.documents, name);
  const stat = fs.statSync(file);
  const etag = `"${stat.size.toString(16)}-${stat.mtimeMs.toString(16)}"`;
  const fields = { etag, "last-modified": stat.mtime.toUTCString(), "accept-ranges": "bytes" };
  if (request.headers["if-none-match"] === etag) {
    finish(request, response, 304, fields);
    return;
  }
  const encodings = request.headers["accept-encoding"] || "";
  if (name.endsWith(".txt") && encodings.includes("gzip")) {
    response.writeHead(200, { ...fields, "content-encoding": "gzip" });
    fs.createReadStream(file).pipe(zlib.createGzip()).pipe(response);
    return;
  }
  let [first, last, status] = [0, stat.size - 1, 200];
  if (request.headers.range) {
    // The tests ask for one "bytes=A-B".
    [first, last] = request.headers.range.replace("bytes=", "").split("-").map(Number);
    status = 206;
    fields["content-range"] = `bytes ${first}-${last}/${stat.size}`;
  }
  response.writeHead(status, { ...fields, "content-length": last - first + 1 });
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  const stream = fs.createReadStream(file, { start: first, end: last });
  // A client may leave in the middle.
  response.on("close", () => stream.destroy());
  stream.on("error", () => response.destroy());
  stream.pipe(response);
}

function push(response, name) {
  response.createPushResponse({ ":path": name }, (error, pushed) => {
    // The client may have gone.
    if (!error) {
      pushed.setHeader("x-client-port", response.getHeader("x-client-port"));
      serveStatic({ method: "GET", headers: {} }, pushed, name);
    }
  });
}

function meet(key, count, done) {
  const present = meetings.get(key) || [];
  meetings.set(key, present);
  const timer = setTimeout(() => done(false), MEETING_TIMEOUT);
  present.push(() => { clearTimeout(timer); done(true); });
  if (present.length === count) {
    present.forEach((leave) => leave());
  }
}

// Pieces of the letters a, b, ..., with pauses between them.
function drip(response, sizes, pause) {
  const pieces = sizes.map((size, n) => Buffer.alloc(size, "a".charCodeAt(0) + (n % 26)));
  const send = () => {
    response.write(pieces.shift());
    if (pieces.length === 0) {
      response.end();
    } else {
      setTimeout(send, pause);
    }
  };
  response.writeHead(200);
  send();
}

function withTrailers(response, body) {
  const trailers = {
    "x-length": String(body.length),
    "x-sha256": crypto.createHash("sha256").update(body).digest("hex"),
  };
  response.writeHead(200, { trailer: Object.keys(trailers).join(", ") });
  response.addTrailers(trailers);
  response.end(body);
}

function pairs(raw) {
  const found = [];
  for (let i = 0; i < raw.length; i += 2) {
    found.push([raw[i].toLowerCase(), raw[i + 1]]);
  }
  return found;
}

function serveDynamic(request, response, body) {
  const url = new URL(request.url, "https://server");
  const [head, tail] = url.pathname.slice(1).split("/");
  if (head === "echo") {
    json(request, response, {
      method: request.method,
      path: request.url,
      headers: pairs(request.rawHeaders),
      body: Buffer.concat(body.kept).toString("latin1"),
    });
  } else if (head === "upload") {
    const declared = request.headers["content-length"];
    json(request, response, {
      length: body.length,
      sha256: body.hash.digest("hex"),
      "content-length": declared === undefined ? [] : [declared],
    });
  } else if (head === "redirect") {
    const left = Number(tail);
    finish(request, response, 302, { location: left > 0 ? `/redirect/${left - 1}` : "/echo" });
  } else if (url.pathname === "/cookies/set") {
    const fields = ["first=1; Path=/", "second=two; Path=/"];
    const size = Number(url.searchParams.get("size") || 0);
    if (size) {
      fields.push(`big=${"x".repeat(size)}; Path=/`);
    }
    finish(request, response, 200, { "set-cookie": fields }, "baked");
  } else if (head === "cookies") {
    json(request, response, cookies(request.headers.cookie));
  } else if (head === "status") {
    finish(request, response, Number(tail), {});
  } else if (head === "delay") {
    setTimeout(() => finish(request, response, 200, {}, "late"), Number(url.searchParams.get("ms")));
  } else if (head === "meet") {
    meet(url.searchParams.get("key"), Number(tail), (met) => {
      finish(request, response, met ? 200 : 503, {}, met ? "met" : "nobody came");
    });
  } else if (head === "drip") {
    const sizes = url.searchParams.get("sizes").split(",").map(Number);
    drip(response, sizes, Number(url.searchParams.get("ms") || 0));
  } else if (head === "early-hints") {
    response.writeEarlyHints({ link: HINTS });
    finish(request, response, 200, {}, "hinted");
  } else if (head === "trailers") {
    withTrailers(response, "a body before trailers");
  } else if (head === "echo-trailers") {
    json(request, response, { length: body.length, trailers: pairs(request.rawTrailers) });
  } else {
    finish(request, response, 404, {}, "no such path");
  }
}

function serve(request, response) {
  response.setHeader("x-client-port", String(request.socket.remotePort));
  const name = request.url.split("?")[0];
  if (STATIC.has(name)) {
    if (response.stream?.pushAllowed) {
      (PUSHED[name] || []).forEach((each) => push(response, each));
    }
    serveStatic(request, response, name);
    return;
  }
  const body = { length: 0, kept: [], keptLength: 0, hash: crypto.createHash("sha256") };
  request.on("data", (chunk) => {
    body.length += chunk.length;
    body.hash.update(chunk);
    if (body.keptLength < KEPT) {
      body.kept.push(chunk);
      body.keptLength += chunk.length;
    }
  });
  request.on("end", () => serveDynamic(request, response, body));
}

const tls = {
  cert: fs.readFileSync(options.certificate),
  key: fs.readFileSync(options.key),
  // A cookie of 8 KiB beside everything else.
  maxHeaderSize: 65536,
};

// Without TLS, and on Unix domain sockets (see cleartext.py).
function listenOn(sockets) {
  http2.createServer(serve).listen(sockets.h2c);
  http.createServer(serve).listen(sockets.http1);
  http2.createSecureServer({ ...tls, allowHTTP1: true }, serve).listen(sockets.tls, () => {
    http2.createServer(serve).listen(options.port, "127.0.0.1");
  });
}

const retiring = http2.createSecureServer(tls, serve);
retiring.on("session", (session) => {
  let streams = 0;
  session.on("stream", () => {
    streams += 1;
    if (streams === options.requestsPerConnection) {
      // GOAWAY now; the streams that are open end first.
      session.close();
    }
  });
});

// The readiness test looks at the main listener, so that one comes last.
if (options.sockets) {
  listenOn(options.sockets);
} else {
  https.createServer({ ...tls, ALPNProtocols: ["http/1.1"] }, serve)
    .listen(options.http11Port, "127.0.0.1", () => {
      retiring.listen(options.retiringPort, "127.0.0.1", () => {
        http2.createSecureServer({ ...tls, allowHTTP1: true }, serve)
          .listen(options.port, "127.0.0.1");
      });
    });
}

process.on("SIGTERM", () => process.exit(0));
