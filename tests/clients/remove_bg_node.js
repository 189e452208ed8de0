// Run by `test_vendor_clients` with the npm client `remove.bg`.
//
// Its address is a constant within, so here the vendor's address stands for the server's.
//
// Arguments: the server's address, a photo, the photo's address, a folder for results.
"use strict";
const fs = require("fs");
const path = require("path");
const unirest = require("unirest");
const client = require("remove.bg");

const [address, photo, url, results] = process.argv.slice(2);
const post = unirest.post;
unirest.post = (endpoint) => post(endpoint.replace("https://api.remove.bg", address));

const apiKey = "right-key";
const failure = (promise) => promise.then(() => "nothing failed", (errors) => errors);
const shown = ({ base64img, ...rest }) => ({ ...rest, bytes: Buffer.from(base64img, "base64").length });

async function main() {
  const outputFile = (name) => path.join(results, name);
  const base64img = fs.readFileSync(photo).toString("base64");
  const file = await client.removeBackgroundFromImageFile({ path: photo, apiKey, outputFile: outputFile("file") });
  const large = await client.removeBackgroundFromImageFile({
    path: photo, apiKey, size: "full", type: "person", crop: true, crop_margin: "10px", scale: "80%",
    position: "50% 100%", roi: "0% 0% 100% 100%", bg_color: "81d4fa", channels: "rgba", add_shadow: true,
    outputFile: outputFile("large"),
  });
  const fromUrl = await client.removeBackgroundFromImageUrl({ url, apiKey, outputFile: outputFile("url") });
  const fromBase64 = await client.removeBackgroundFromImageBase64({
    base64img, apiKey, size: "full", bg_image_url: url, outputFile: outputFile("base64"),
  });
  const said = {
    where: require.resolve("remove.bg"),
    file: shown(file),
    large: shown(large),
    url: shown(fromUrl),
    base64: shown(fromBase64),
    "wrong key": await failure(client.removeBackgroundFromImageFile({ path: photo, apiKey: "wrong-key" })),
    "wrong position": await failure(client.removeBackgroundFromImageFile({ path: photo, apiKey, position: "left" })),
    "wrong address": await failure(client.removeBackgroundFromImageUrl({ url: `${url}.missing`, apiKey })),
  };
  console.log(JSON.stringify(said));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
