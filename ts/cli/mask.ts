/** A text without the passwords of URLs in it: they may stand before the host, or among the parameters. */
export function masked(text: string): string {
  return text
    .replace(/(\w+:\/\/[^\s:@/]*):[^\s/]*@/g, '$1:***@')
    .replace(/([?&](?:password|sslpassword)=)[^\s&]*/gi, '$1***');
}
