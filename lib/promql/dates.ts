// The calendar of a Unix time, in UTC, for any number of seconds: JavaScript's Date ends at the year 275,760.

const daySeconds = 86_400;

export const dateFunctions: Readonly<Record<string, (seconds: number) => number>> = {
  minute: (seconds) => Math.floor(modulo(Math.trunc(seconds), 3600) / 60),
  hour: (seconds) => Math.floor(modulo(Math.trunc(seconds), daySeconds) / 3600),
  // 1 January 1970 was a Thursday, the fourth day counted from Sunday as 0.
  day_of_week: (seconds) => modulo(dayNumber(seconds) + 4, 7),
  day_of_month: (seconds) => civil(seconds).day,
  day_of_year(seconds) {
    const { year } = civil(seconds);
    return dayNumber(seconds) - daysFromCivil(year, 1, 1) + 1;
  },
  days_in_month(seconds) {
    const { year, month } = civil(seconds);
    return (
      (month === 12 ? daysFromCivil(year + 1, 1, 1) : daysFromCivil(year, month + 1, 1)) - daysFromCivil(year, month, 1)
    );
  },
  month: (seconds) => civil(seconds).month,
  year: (seconds) => civil(seconds).year,
};

function modulo(a: number, b: number): number {
  return ((a % b) + b) % b;
}

function dayNumber(seconds: number): number {
  return Math.floor(Math.trunc(seconds) / daySeconds);
}

/** Howard Hinnant's civil_from_days: years that begin on 1 March, eras of 400 years. */
function civil(seconds: number): { readonly year: number; readonly month: number; readonly day: number } {
  const days = dayNumber(seconds) + 719_468;
  const era = Math.floor(days / 146_097);
  const dayOfEra = days - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1,
  };
}

function daysFromCivil(year: number, month: number, day: number): number {
  const shiftedYear = month <= 2 ? year - 1 : year;
  const era = Math.floor(shiftedYear / 400);
  const yearOfEra = shiftedYear - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  return (
    era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
  );
}
