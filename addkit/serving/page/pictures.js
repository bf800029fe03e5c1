// Where pictures come from: files, the clipboard, a drop, the camera.
import { byId } from "./dom.js";

/** Call `take` with the image files of every way to give some. */
export function listen(take) {
  const stage = byId("stage"), files = byId("files");
  byId("choose").addEventListener("click", () => files.click());
  stage.addEventListener("click", () => stage.classList.contains("empty") && files.click());
  for (const input of [files, byId("snapshot")]) {
    input.addEventListener("change", () => {
      take([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  // A drop anywhere on the page counts: elsewhere the browser would leave the page for the picture.
  addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("over");
  });
  for (const end of ["dragleave", "drop"]) {
    addEventListener(end, (event) => {
      if (end === "drop" || !event.relatedTarget) stage.classList.remove("over");
    });
  }
  addEventListener("drop", (event) => {
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const pasted = [...event.clipboardData.files];
    if (pasted.length) {
      event.preventDefault();
      take(pasted);
    }
  });
  byId("camera").addEventListener("click", () => openCamera(take));
}

/** A live picture in a dialog; where the browser has none, the phone's own camera. */
async function openCamera(take) {
  const dialog = byId("camera-dialog"), video = byId("video");
  let stream;
  try {
    // Only pages of this machine or over https may; elsewhere `mediaDevices` is missing.
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    byId("snapshot").click();
    return;
  }
  video.srcObject = stream;
  dialog.showModal();
  video.play();
  const ended = new AbortController();
  const options = { signal: ended.signal };
  byId("camera-close").addEventListener("click", () => dialog.close(), options);
  byId("shoot").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => blob && take([new File([blob], "photo.png", { type: "image/png" })]), "image/png");
    dialog.close();
  }, options);
  dialog.addEventListener("close", () => {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    ended.abort();
  }, options);
}
