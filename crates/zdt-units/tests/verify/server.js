// A server as the documentation of Node has it: it closes when it is told to stop.
const http = require("http");

const server = http.createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    setTimeout(() => response.end("hello\n"), request.url === "/slow" ? 800 : 0);
  });
});
server.listen({ fd: 3 });
process.on("SIGTERM", () => server.close(() => process.exit(0)));
