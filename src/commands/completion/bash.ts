import { valueFlags, type Place } from './words.ts';

/** Needs bash 3.2 alone, not the bash-completion package. */
export function bashScript(places: Place[]): string {
  const cases = places.map((place) => {
    const pattern = place.isCommand ? `"${place.path}"|"${place.path} "*` : `"${place.path}"`;
    const flags = place.flags.flatMap((flag) =>
      flag.short === undefined ? [flag.long] : [flag.long, flag.short],
    );
    const list = [...place.words.map(({ word }) => word), ...flags, '--help'];
    return `    ${pattern}) list="${list.join(' ')}" ;;`;
  });
  return `# dbops completion bash > /etc/bash_completion.d/dbops
# or for one shell: eval "$(dbops completion bash)"
_dbops() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local spoken="" skip="" list="" word i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
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
  case "$previous" in
    ${valueFlags(places, true).join('|')})
      local IFS=$'\\n'
      COMPREPLY=($(compgen -f -- "$current"))
      compopt -o filenames 2>/dev/null
      return
      ;;
    ${valueFlags(places, false).join('|')}) return ;;
  esac
  case "$spoken" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$list" -- "$current"))
}
complete -F _dbops dbops
`;
}
