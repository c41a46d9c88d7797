import { valueFlags, type Place } from './words.ts';

/** A completion function of zsh's own kind: autoloaded from fpath, or evaluated. */
export function zshScript(places: Place[]): string {
  const cases = places.map((place) => {
    const pattern = place.isCommand ? `${quote(place.path)}|${quote(`${place.path} `)}*` : quote(place.path);
    const flags = place.flags.flatMap((flag) => [
      item(flag.long, flag.about),
      ...(flag.short === undefined ? [] : [item(flag.short, flag.about)]),
    ]);
    const list = [...place.words.map(({ word, about }) => item(word, about)), ...flags];
    return `    ${pattern}) list=(\n      ${list.join('\n      ')}\n    ) ;;`;
  });
  return `#compdef dbops
# dbops completion zsh > "\${fpath[1]}/_dbops"
# or for one shell: eval "$(dbops completion zsh)"
_dbops() {
  local -a list
  local spoken="" skip="" word i
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    if [[ -n "$skip" ]]; then
      skip=""
      continue
    fi
    case "$word" in
      ${valueFlags(places).join('|')}) skip=1 ;;
      -*) ;;
      *) spoken="\${spoken:+$spoken }$word" ;;
    esac
  done
  case "\${words[CURRENT-1]}" in
    ${valueFlags(places, true).join('|')}) _files; return ;;
    ${valueFlags(places, false).join('|')}) return ;;
  esac
  case "$spoken" in
${cases.join('\n')}
  esac
  list+=('--help:display help')
  _describe 'dbops' list
}
if [[ "\${funcstack[1]}" == "_dbops" ]]; then
  _dbops "$@"
else
  compdef _dbops dbops
fi
`;
}

/** 'name:description'; a colon in the name would end it. */
function item(word: string, about: string): string {
  return quote(`${word.replaceAll(':', '\\:')}:${about}`);
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
