// A sound for new alerts, only where somebody asked for it.

let context = null;

/** Two tones, three higher ones for what is critical; nothing where the browser has not been touched yet. */
export function sound(critical) {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume();
  const tones = critical ? [880, 1175, 880] : [660, 880];
  tones.forEach((pitch, place) => {
    const from = context.currentTime + place * 0.18;
    const gain = context.createGain();
    gain.gain.setValueAtTime(0.0001, from);
    gain.gain.exponentialRampToValueAtTime(0.3, from + 0.02);
    gain.gain.exponentialRampToValueAtTime(0.0001, from + 0.16);
    const tone = context.createOscillator();
    tone.frequency.value = pitch;
    tone.connect(gain).connect(context.destination);
    tone.start(from);
    tone.stop(from + 0.17);
  });
}
