/** The chat page: joins its parts. Texts become text nodes, never HTML. */
import { drawTitle, playSound } from "./alerts.js";
import { installBrowse } from "./browse.js";
import { installComposer } from "./composer.js";
import { $ } from "./dom.js";
import { installEntry, quit } from "./entry.js";
import { loadOlder } from "./history.js";
import { installLists } from "./lists.js";
import { installLog, redraw } from "./log.js";
import { complain, explain, installPanels, isFine } from "./page.js";
import { enterRoom, installRooms, show, visit } from "./rooms.js";
import { installRoute } from "./route.js";
import { sendAgain } from "./send.js";
import { installSession } from "./session.js";
import { installSettings, settings } from "./settings.js";
import { chat, openConversation } from "./state.js";
import { installSwitcher } from "./switcher.js";

$("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!isFine($("join-room"))) return;
  try {
    await enterRoom($("join-room").value);
    $("join-room").value = "";
  } catch (error) {
    complain($("join-room"), explain(error));
  }
});
$("open-direct").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!isFine($("direct-user"))) return;
  show(openConversation("direct", $("direct-user").value));
  $("direct-user").value = "";
});

installPanels();
installSettings((name) => {
  if (name === "sound" && settings.sound) playSound();
  redraw();
});
installLists({ onChoice: show, onUnread: drawTitle });
installLog({ sendAgain, loadOlder: () => chat.shown?.hasOlder && loadOlder(chat.shown) });
installRooms({ onLast: quit });
installRoute(visit);
installComposer();
installSwitcher();
installBrowse();
installSession();
installEntry();
