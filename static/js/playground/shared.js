/* A conversation that somebody shared, to read only. */

import { attach } from "berth/attach";
import { Thread } from "berth/playground/thread";

attach("[data-shared]", (root) => {
  const { base, deploymentUrl } = root.dataset;
  const { messages } = JSON.parse(document.getElementById("chat-state").textContent);
  const thread = new Thread(root.querySelector("[data-turns]"), { base, deploymentUrl });
  // Whatever is under way there is not followed from here.
  for (const { answer } of messages) if (answer) answer.live = false;
  thread.show(messages);
  return () => thread.stop();
});
