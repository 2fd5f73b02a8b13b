// Fills the parts of the page as the server sends them. Without it the page is as of when it was loaded.
"use strict";
(() => {
  const stream = document.getElementById("stream");
  const pause = document.getElementById("pause");
  const parts = ["looked", "top", "said", "now", "services", "restarts", "releases", "doctor", "events"];
  // The server says something at least every 10 s.
  const SILENCE = 25000;
  const AGAIN = 5000;
  let source = null;
  let watchdog = 0;
  let again = 0;

  const say = (state, text) => {
    if (stream.textContent !== text) stream.textContent = text;
    stream.dataset.state = state;
  };

  const heard = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => { stop(); retry(); }, SILENCE);
    say("live", "Live");
  };

  const fill = event => {
    heard();
    const part = document.getElementById(event.type);
    const content = document.createRange().createContextualFragment(event.data);
    part.replaceChildren(content);
    if (event.type === "top") document.title = part.querySelector("h1").textContent + " · zdt-units";
  };

  const stop = () => {
    clearTimeout(watchdog);
    clearTimeout(again);
    if (source) source.close();
    source = null;
  };

  const retry = () => {
    say("lost", "Not connected; trying again");
    again = setTimeout(start, AGAIN);
  };

  const start = () => {
    stop();
    source = new EventSource("events");
    for (const part of parts) source.addEventListener(part, fill);
    source.addEventListener("beat", heard);
    source.onerror = () => {
      // The browser tries again by itself, unless it was told that there is no room.
      if (source && source.readyState === EventSource.CLOSED) { stop(); retry(); }
      else say("lost", "Not connected; trying again");
    };
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    const paused = source === null && pause.textContent === "Go on";
    pause.textContent = paused ? "Pause" : "Go on";
    if (paused) { say("", "Connecting"); start(); }
    else { stop(); say("paused", "Paused"); }
  });
  // A page that nobody sees asks for nothing.
  document.addEventListener("visibilitychange", () => {
    if (pause.textContent === "Go on") return;
    if (document.hidden) stop();
    else start();
  });
  addEventListener("pagehide", stop);
  say("", "Connecting");
  start();
})();
