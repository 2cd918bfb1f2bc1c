// One voice at a time: starting a player pauses the others.
document.addEventListener(
  "play",
  (event) => {
    for (const player of document.querySelectorAll("audio")) {
      if (player !== event.target) player.pause();
    }
  },
  true,
);

// The louder of a pair is played softer, unless the reader wants each as its engine gave it.
const raw = document.getElementById("raw");
const level = () => {
  for (const player of document.querySelectorAll("audio[data-level]")) {
    player.volume = raw.checked ? 1 : Number(player.dataset.level);
  }
};
if (raw) {
  raw.addEventListener("change", level);
  level();
}
