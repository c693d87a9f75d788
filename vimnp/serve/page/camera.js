// The camera: opened, closed, changed, and its frames as pictures.

const QUALITY = 0.9;  // of a frame's JPEG
const PATIENCE = 250;  // milliseconds to wait for a frame that is new

/** Why there is no camera here, in a sentence; null where there may be one. */
export function whyNone() {
  if (!window.isSecureContext) {
    return "Browsers open a camera only on localhost and over HTTPS. This address is neither.";
  }
  return navigator.mediaDevices?.getUserMedia ? null : "This browser has no access to a camera.";
}

/** Shows a camera in `video`: the one that looks away from the user, or the one with this id. */
export async function open(video, deviceId) {
  close(video);
  const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "environment" };
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      video: { ...which, width: { ideal: 1280 }, height: { ideal: 960 } },
      audio: false,
    });
    await video.play();
  } catch (error) {
    close(video);
    throw new Error(inWords(error));
  }
}

export function close(video) {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}

export function isOpen(video) {
  return video.srcObject !== null;
}

/** Calls `listener` when the camera ends without being asked to, as one does that is unplugged. */
export function whenLost(video, listener) {
  for (const track of video.srcObject.getTracks()) track.addEventListener("ended", listener, { once: true });
}

/** The cameras that there are: [{deviceId, label}]. They have labels once one was opened. */
export async function all() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind }) => kind === "videoinput");
}

/** The id of the camera that is open. */
export function current(video) {
  return video.srcObject?.getVideoTracks()[0]?.getSettings().deviceId ?? "";
}

/** Waits for a frame that was not there before, but not for ever: a hidden page has none. */
export function nextFrame(video) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PATIENCE);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(done);
    else requestAnimationFrame(done);
  });
}

/** The frame that is shown, on a canvas of its own whose shorter side has `side` pixels at most. */
export function frame(video, side) {
  const { videoWidth: width, videoHeight: height } = video;
  const scale = Math.min(1, side / Math.min(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * width));
  canvas.height = Math.max(1, Math.round(scale * height));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** A canvas as the bytes of a JPEG file. */
export function asFile(canvas) {
  return new Promise((resolve, reject) => {
    const done = (blob) => (blob ? resolve(blob) : reject(new Error("The frame could not be stored.")));
    canvas.toBlob(done, "image/jpeg", QUALITY);
  });
}

function inWords(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "The browser was not allowed to open the camera. Its settings for this page say so.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No camera was found.";
    case "NotReadableError":
      return "The camera cannot be read: another program may have it.";
    default:
      return `The camera cannot be opened: ${error.message}`;
  }
}
